"""Builds the site into site/: the pages, and for language models llms.txt and each page's Markdown.

Warnings of the builder, such as links that lead nowhere, are errors.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
ZENSICAL = Path(sys.executable).with_name("zensical")


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
    whole = "\n\n".join((docs / file).read_text(encoding="utf-8") for _, file in listing)
    (site / "llms-full.txt").write_text(whole, encoding="utf-8")
    for _, file in listing:
        shutil.copy(docs / file, site / file)
    print(f"==> {len(listing)} pages, llms.txt and llms-full.txt in {site.relative_to(ROOT)}/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
