"""The public face of tamis: what ``import tamis`` gives."""

__all__: list[str] = []
