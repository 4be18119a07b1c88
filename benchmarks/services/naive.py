"""What most people would write first: Pydantic, a DataFrame for each request, the library's own predict."""

import os

import pandas as pd
import xgboost
from fastapi import FastAPI
from pydantic import BaseModel

model = xgboost.XGBClassifier()
model.load_model(os.environ["BENCH_MODEL"])
names = os.environ["BENCH_COLUMNS"].split(",")
app = FastAPI()


class Row(BaseModel):
    input_data: dict[str, float]


@app.post("/predict")
def predict(row: Row) -> dict[str, object]:
    frame = pd.DataFrame([row.input_data], columns=names)
    (shares,) = model.predict_proba(frame).tolist()
    return {"prediction": int(shares[1] > shares[0]), "probabilities": shares}
