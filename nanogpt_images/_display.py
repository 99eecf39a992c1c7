"""What a notebook shows of an object that is a cell's last value."""

from __future__ import annotations


class Displayed:
    """A mixin: IPython asks for these methods, and only then the code behind them is loaded."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        from .integrations.jupyter import html_of

        return html_of(self)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        # IPython itself leaves out what it does not want.
        del include, exclude
        return {"text/plain": repr(self), "text/html": self._repr_html_()}
