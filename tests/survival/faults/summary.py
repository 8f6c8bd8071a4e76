"""The table of docs/faults.md."""
import datetime

COLUMNS = ("worker", "keeper", "start", "mpu-run")
BEGIN, END = "<!-- faults.py writes from here -->", "<!-- to here -->"


class Summary:
    def __init__(self):
        self.rows = {}

    def add(self, where, fault, outcome):
        row = self.rows.setdefault((fault.call, fault.error, fault.judged), {})
        row[where] = outcome

    def lines(self):
        yield f"Of {datetime.date.today():%-d %B %Y}, {len(self.rows)} ways to fail."
        yield ""
        yield "| call | errno | " + " | ".join(COLUMNS) + " |"
        yield "|---|---|" + "---|" * len(COLUMNS)
        for (call, error, judged), row in self.rows.items():
            cells = [row.get(where, "") for where in COLUMNS]
            if any(cells):
                yield f"| `{call}` | {error}{'' if judged else ' *'} | " + " | ".join(cells) + " |"

    def write(self, path):
        """Between the marks of the document."""
        with open(path, encoding="utf-8") as file:
            text = file.read()
        before, rest = text.split(BEGIN)
        after = rest.split(END)[1]
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"{before}{BEGIN}\n" + "\n".join(self.lines()) + f"\n{END}{after}")
