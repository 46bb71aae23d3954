"""Figures of what networks have learned."""

from genlab.visualize.embedding import embedding

__all__ = ["embedding"]
