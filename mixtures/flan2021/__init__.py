"""FLAN 2021 (Wei et al., 2022, "Finetuned Language Models Are Zero-Shot Learners"): 62 data sets in clusters of tasks.

A folder is a cluster, a file in it a data set; templates are our own. `suite` registers the mixtures.
"""
