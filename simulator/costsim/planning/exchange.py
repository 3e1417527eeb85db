"""What a plan says of the exchange rates that it reads and shows money by."""

from __future__ import annotations

from datetime import date

from costsim.costs.prices import STALE_DAYS, Lists, newest_day
from costsim.currencies import currency, named_in
from costsim.documents import Document
from costsim.planning.sources import strings
from costsim.remarks import Caution

_OF_MONEY = ("price", "own", "project", "limits")


def exchange_notes(document: Document, shown: str | None, lists: Lists) -> list[str]:
    """Return each rate that is used, and a warning where rates are old.

    Args:
        document: of the scenario.
        shown: code of the currency that the budget is shown in.
        lists: price lists that are laid over the catalogue.
    """
    texts = [text for steps, text in strings(document.value) if steps[0] in _OF_MONEY]
    codes = {code for text in texts for code in named_in(text)}
    used = [currency(code) for code in sorted(codes | ({shown} if shown else set()))]
    notes = [f"money: {one}" for one in used]
    if used and (newest_day(lists) - date.fromisoformat(used[0].as_of)).days > STALE_DAYS:
        notes.append(
            Caution(
                f"exchange rates are of {used[0].as_of}, more than {STALE_DAYS} days older than "
                f"the newest price ({newest_day(lists)})"
            )
        )
    return notes
