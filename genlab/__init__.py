"""genlab: train, attack and defend small generative and adversarial models, many settings at once.

Importing the library pulls in neither Ray nor MLflow.
"""
