"""The table of the faults: each line has a bound and the measured value."""


class Table:
    def __init__(self):
        self.rows, self.broken = [], 0

    def row(self, fault, what, bound, value, unit="", above=False):
        """A value that must be at most the bound, or at least with `above`."""
        holds = value >= bound if above else value <= bound
        self.broken += not holds
        number = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
        sign = ">=" if above else "<="
        line = (fault, what, f"{sign} {bound} {unit}".strip(), f"{number} {unit}".strip(), "" if holds else "BROKEN")
        self.rows.append(line)
        print("  " + " | ".join(line), flush=True)

    def note(self, fault, what, value):
        """A value without a bound."""
        self.rows.append((fault, what, "-", value, ""))
        print(f"  {fault} | {what} | - | {value}", flush=True)

    def show(self):
        head = ("fault", "what", "bound", "measured", "")
        widths = [max(len(row[column]) for row in [head, *self.rows]) for column in range(5)]
        for row in [head, *self.rows]:
            print(" | ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
