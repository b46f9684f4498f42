"""Puts what was measured between its markers on a Markdown page."""


def put(path, name, text):
    """Replaces what stands between `<!-- NAME -->` and `<!-- /NAME -->`."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    page = path.read_text()
    if begin not in page or end not in page:
        raise SystemExit(f"{path} lacks the markers {begin} and {end}")
    before, rest = page.split(begin, 1)
    after = rest.split(end, 1)[1]
    path.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after}")


def table(heads, rows):
    """A Markdown table; columns after the first are right-aligned where they are numbers."""
    numbers = [all(str(row[i])[:1].isdigit() or row[i] in ("", "–") for row in rows) for i in range(len(heads))]
    rule = ["---:" if number and i else "---" for i, number in enumerate(numbers)]
    lines = [heads, rule, *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
