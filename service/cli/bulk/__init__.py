"""`resnest-service bulk`: ask a model about very many files, in a run that can be stopped and continued."""
