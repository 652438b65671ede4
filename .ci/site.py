"""Builds the site into site/: the pages, and for language models llms.txt and each page's Markdown.

Warnings of the builder, such as links that lead nowhere, are errors.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import griffe
import yaml

ROOT = Path(__file__).resolve().parent.parent
ZENSICAL = Path(sys.executable).with_name("zensical")
DIRECTIVE = re.compile(r"^::: (\S+)\n(?: +.*\n)*", re.MULTILINE)
SOURCES = [str(ROOT / "shared"), str(ROOT)]


class Loader(yaml.SafeLoader):
    """Reads mkdocs.yml, which names Python functions by tags."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda _loader, suffix, _node: suffix)


def pages(nav: list[dict[str, object]]) -> list[tuple[str, str]]:
    """The title and the file of each page, in the order of the menu."""
    found: list[tuple[str, str]] = []
    for entry in nav:
        ((title, value),) = entry.items()
        found += [(title, value)] if isinstance(value, str) else pages(value)  # type: ignore[arg-type]
    return found


def summary(page: Path) -> str:
    """The first sentence of a page."""
    paragraph = page.read_text(encoding="utf-8").split("\n\n")[1].strip()
    return paragraph.partition(". ")[0].rstrip(".:") + "."


def markdown(page: Path) -> str:
    """A page as it is read without the site: the builder's directives give way to what they stand for."""
    return DIRECTIVE.sub(lambda found: described(found[1]), page.read_text(encoding="utf-8"))


def described(name: str) -> str:
    """The public names of a module, with their signatures and docstrings."""
    module: Any = griffe.load(name, search_paths=SOURCES, resolve_aliases=True)
    names = [name for export in module.exports if not (name := str(export)).startswith("_")]
    parts = [f"### {name}\n\n{text(module)}" if "." in name else text(module)]
    for each in names:
        found = module[each]
        parts.append(f"#### {head(found)}\n\n{text(found)}")
        inside = found.all_members.values() if found.is_class else ()
        # What a class inherits from another one of the module is said there.
        shown = [m for m in inside if not m.name.startswith("_") and m.docstring]
        own = [m for m in shown if not m.inherited or m.final_target.parent.name not in names]
        parts += [f"- {head(member)}: {text(member)}" for member in own]
    return "\n\n".join(parts) + "\n"


def head(found: Any) -> str:
    """A name as code, with its parameters if it has some."""
    return f"`{((found.is_class or found.is_function) and found.signature()) or found.name}`"


def text(found: Any) -> str:
    """A docstring."""
    return found.docstring.value if found.docstring else ""


def main() -> int:
    """Build, and say where the result is."""
    config = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader)  # noqa: S506 - a SafeLoader
    docs, site = ROOT / config["docs_dir"], ROOT / config["site_dir"]
    shutil.rmtree(site, ignore_errors=True)
    built = subprocess.run([ZENSICAL, "build", "--clean", "--strict"], cwd=ROOT, check=False)
    if built.returncode:
        print("error: the site has warnings; they are above.", file=sys.stderr)
        return built.returncode
    listing = pages(config["nav"])
    lines = [f"# {config['site_name']}", "", f"> {config['site_description']}", "", "## Pages", ""]
    lines += [f"- [{title}]({file}): {summary(docs / file)}" for title, file in listing]
    (site / "llms.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    texts = {file: markdown(docs / file) for _, file in listing}
    (site / "llms-full.txt").write_text("\n\n".join(texts.values()), encoding="utf-8")
    for file, page in texts.items():
        (site / file).write_text(page, encoding="utf-8")
    print(f"==> {len(listing)} pages, llms.txt and llms-full.txt in {site.relative_to(ROOT)}/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
