"""Checks of this machine and of a cluster's nodes before anything is trained."""
