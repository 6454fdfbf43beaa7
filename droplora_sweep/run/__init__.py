"""What a driver does around a search: start, stages, requests, records, forks, resumes, reruns."""
