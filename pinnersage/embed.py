"""Embed: embeddings from the co-actions before a day, as a version valid from that day.

For those who have no embeddings: a stand-in for PinSage. Reads the raw actions before the day,
so nothing that is later evaluated is seen; writes a version of ``embeddings``.
"""

from datetime import date

import duckdb
from pydantic import BaseModel, ConfigDict

from pinnersage import co_actions, extract, queries, source
from pinnersage.config import Settings
from pinnersage.errors import DataError
from pinnersage.stores import embeddings, open_lake


class EmbedReport(BaseModel):
    """What was made."""

    model_config = ConfigDict(frozen=True)

    before: date
    version: str
    pins: int
    dimensions: int
    pairs: int
    pins_without_company: int


def run(before: date, settings: Settings, *, dimensions: int = 64) -> EmbedReport:
    """Make embeddings from every interest before ``before``, valid from that day on."""
    lake = open_lake(settings)
    parameters = {
        "end": extract.start_of(before),
        "interest_actions": list(settings.source.interest_actions),
    }
    with lake.workspace() as work, queries.connect(work / "spill", settings.run) as con:
        source.view(con, settings.source)
        try:
            sql = queries.text("raw_actions/interests_before")
            pairs = con.sql(sql, params=parameters).to_arrow_table()
        except duckdb.Error as error:
            raise queries.translate(error, settings.source.actions) from error
    if not pairs.num_rows:
        raise DataError(
            f"No interest before {before} in {settings.source.actions}. Name a later day."
        )
    made = co_actions.co_action_embeddings(pairs["user_id"], pairs["pin_id"], dimensions=dimensions)
    written = embeddings.write(
        lake, made.pin_ids, made.vectors, valid_from=before, first_day=before, max_bad_share=0.0
    )
    return EmbedReport(
        before=before,
        version=written.version,
        pins=written.pins,
        dimensions=written.dimensions,
        pairs=pairs.num_rows,
        pins_without_company=made.n_pins_left_out,
    )
