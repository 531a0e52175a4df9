"""The code in the documents runs as it stands, and their links lead somewhere."""

import importlib
import re
from pathlib import Path

import pytest

from cotan import registry

ROOT = Path(__file__).parents[1]
BLOCKS = [
    pytest.param(block, id=f"{path.relative_to(ROOT)}:{i}")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for i, block in enumerate(re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL))
]


@pytest.mark.parametrize("block", BLOCKS)
def test_block(block, scratch, tmp_path, monkeypatch):
    import cotan
    from cotan.testing.shapes import example

    monkeypatch.chdir(tmp_path)
    cotan.write(example("mesh"), "bunny.off")
    exec(compile(block, "<document>", "exec"), {"__name__": "document"})


@pytest.mark.parametrize(
    "page",
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_links_lead_somewhere(page):
    def prose(path):
        return re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)

    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", prose(page)):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        heads = re.findall(r"^#+ (.*)$", prose(target), re.MULTILINE) if anchor else []
        assert not anchor or anchor in [re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads], link


def test_reference_is_of_now(monkeypatch):
    registry.load()
    ours = {
        key: [d for d in found if d.origin.startswith("cotan")] for key, found in registry._state.definitions.items()
    }
    monkeypatch.setattr(registry._state, "definitions", {key: found for key, found in ours.items() if found})
    monkeypatch.syspath_prepend(ROOT / "docs")
    page = importlib.import_module("reference").page()
    assert page == (ROOT / "docs/reference.md").read_text(), "run: python docs/reference.py"
    for name in (
        "Run.load(path, model=None)",
        "Splits.split(name)",
        "Sparse.to_scipy()",
        "cotan.autodiff.jacobian(f, x",
    ):
        assert f"\n{name}" in page
    seen = set(re.findall(r"\(see\s+`([\w-]+)`", page))
    assert len(seen) > 5
    assert seen <= set(re.findall(r"<summary><code>(.*?)</code>", page)), "names that the page does not explain"
