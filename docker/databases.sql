-- Runs once, on an empty volume. MLflow's accounts have a database of their own: they have their own migrations.
CREATE DATABASE mlflow_auth;
