"""The ledger of a sweep, its durable truth: written by its one driver, read by all.

Nothing here imports mlflow, optuna or torch; `droplora_sweep.mlflow_view` publishes it to MLflow.
"""
