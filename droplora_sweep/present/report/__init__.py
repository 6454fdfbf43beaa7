"""One page that says which pruning rate to use and how sure that is, and figures beside it.

Nothing here imports torch, ray or mlflow: a report is made on a laptop, from the ledger alone.
"""
