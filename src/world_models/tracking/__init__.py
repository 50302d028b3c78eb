"""MLflow: the runs of stages and pipelines. The only room that knows it."""
