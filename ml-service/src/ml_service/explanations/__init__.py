"""Why a model gave an answer: what each column of the dataset contributed, in numbers and in words.

Trains nothing, and knows nothing of requests.
"""
