"""Choice of trials: Optuna draws, Ray Tune schedules."""
