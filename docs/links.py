"""Files and dotted names in backticks: pages become links, and what is not there is a warning."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = "benchmarks|data|docs|notebooks|pipelines|speechrnn|tests"
NAMED = re.compile(rf"(?:\.\./)*((?:{FOLDERS})/[\w./-]+\.(?:py|md|ipynb)|[A-Z_]{{4,}}\.md|[\w/]+\.md)")
DOTTED = re.compile(r"(speechrnn(?:\.[A-Za-z_]\w*)+)(?:\(.*)?", re.DOTALL)
LOG = logging.getLogger(__name__)


class NamedFiles(SphinxTransform):
    """Turns `docs/x.md` into a link to that page; warns of files and names that the repository lacks."""

    default_priority = 400

    def apply(self, **options: Any) -> None:
        """Look at every piece of code within a line."""
        if self.env.docname.startswith(("reference/generated", "changes")):  # where names are relative, or old
            return
        for literal in list(self.document.findall(nodes.literal)):
            named = DOTTED.fullmatch(literal.astext())
            if named and not _is_there(named[1]):
                LOG.warning("there is nothing called %s", named[1], location=literal, type="links", subtype="name")
            found = NAMED.fullmatch(literal.astext())
            if (
                found
                and "NAME" not in found[1]
                and not isinstance(literal.parent, nodes.reference | addnodes.pending_xref)
            ):
                self._link(literal, found[1])

    def _link(self, literal: nodes.literal, name: str) -> None:
        here = (Path(self.env.srcdir) / self.env.docname).parent
        path = next((p for p in (ROOT / name, ROOT / "docs" / name, here / name) if p.exists()), None)
        if path is None:
            LOG.warning("there is no file %s", name, location=literal, type="links", subtype="file")
            return
        if path.suffix == ".md" and path.is_relative_to(self.env.srcdir):
            page = path.relative_to(self.env.srcdir).with_suffix("").as_posix()
            link = addnodes.pending_xref(
                "", refdomain="std", reftype="doc", reftarget=f"/{page}", refexplicit=True, refdoc=self.env.docname
            )
            literal.replace_self(link)
            link += nodes.inline(page, page, classes=["xref", "doc"])


def _is_there(name: str) -> bool:
    """Whether a dotted name can be imported, a module's or that of something in it."""
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_transform(NamedFiles)
    return {"parallel_read_safe": True}
