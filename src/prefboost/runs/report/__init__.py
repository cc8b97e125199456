"""The report page of runs, evaluations, reproductions and diagnoses."""
