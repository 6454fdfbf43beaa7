"""A driver's work around a search: start, stages, requests, records, forks, resumes, reruns."""
