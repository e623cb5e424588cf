"""MovieLens 100K as actions and movies, in the columns that ``pinnersage init`` asks about.

The data lies inside a wheel on PyPI (recbole 1.2.1), which pip fetches and whose hash is
checked. Its licence forbids passing it on: it is unpacked into ``--out`` and nowhere else.
A rating of 4 or 5 is a "like", the interest; any other is a "rate". A movie's quality is the
share of its ratings that are 3 or better, from ratings before ``--before`` alone, drawn
towards the mean of all movies where they are few: the days after it stay unseen.

    python examples/movielens.py --out data/movielens --before 1998-04-01
"""

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
import pyarrow.parquet as pq

REQUIREMENT = "recbole==1.2.1"
SHA256 = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"
INSIDE = "recbole/dataset_example/ml-100k/ml-100k"

LIKED = 4
GOOD = 3
PRIOR_RATINGS = 10
"""A movie without ratings has the quality of the mean one; this many halve the pull."""
ARTICLE = re.compile(
    r"([^()]+), (A|An|Das|Der|Die|El|Il|La|Las|Le|Les|Los|O|The|Un|Une)(?=\)| \(|$)"
)


def download(python: str, folder: Path) -> Path:
    """Fetch the wheel with a Python's pip; its path."""
    command = [python, "-m", "pip", "download", "--quiet", "--no-deps"]
    try:
        subprocess.run([*command, "--dest", str(folder), REQUIREMENT], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(
            f"{REQUIREMENT} could not be downloaded with the pip of {python} "
            f"({type(error).__name__}). "
            f"Name a Python that has pip by --pip, or hand over the wheel by --wheel."
        )
    return next(folder.glob("*.whl"))


def checked(wheel: Path) -> Path:
    """The wheel, once its hash is the expected one."""
    if not wheel.is_file():
        sys.exit(f"{wheel} is not a file. Leave --wheel out to download {REQUIREMENT}.")
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != SHA256:
        sys.exit(
            f"{wheel} is not the wheel of {REQUIREMENT}: its SHA-256 is {found}, not {SHA256}. "
            f"Delete it and download it again; if that repeats, do not use it."
        )
    return wheel


def read(wheel: Path, suffix: str) -> pa.Table:
    """One of the wheel's tab-separated tables; a column's name is ``name:type``."""
    types = {"user_id:token": pa.int64(), "item_id:token": pa.int64(), "rating:float": pa.float64()}
    types |= dict.fromkeys(("movie_title:token_seq", "release_year:token"), pa.string())
    with zipfile.ZipFile(wheel) as archive, archive.open(f"{INSIDE}.{suffix}") as file:
        table = pv.read_csv(
            file,
            parse_options=pv.ParseOptions(delimiter="\t", quote_char=False),
            convert_options=pv.ConvertOptions(column_types=types),
        )
    return table.rename_columns([name.partition(":")[0] for name in table.column_names])


def actions_of(ratings: pa.Table) -> pa.Table:
    """A row a rating, oldest first."""
    seconds = pc.cast(ratings["timestamp"], pa.int64())
    liked = pc.greater_equal(ratings["rating"], LIKED)
    table = pa.table(
        {
            "user_id": ratings["user_id"],
            "movie_id": ratings["item_id"],
            "action": pc.if_else(liked, "like", "rate"),
            "ts": pc.cast(pc.multiply(seconds, 1_000_000), pa.timestamp("us", "UTC")),
        }
    )
    return table.sort_by([(name, "ascending") for name in ("ts", "user_id", "movie_id")])


def movies_of(items: pa.Table, ratings: pa.Table, before: date) -> pa.Table:
    """A row a movie, with its quality as it stood when ``before`` began."""
    start = datetime(before.year, before.month, before.day, tzinfo=UTC).timestamp()
    known = ratings.filter(pc.less(ratings["timestamp"], start))
    if not known.num_rows:
        sys.exit(f"No rating is older than {before}; they begin on 1997-09-20. Name a later day.")
    ids = items["item_id"].to_numpy()
    movie = known["item_id"].to_numpy()
    good = (known["rating"].to_numpy() >= GOOD).astype(float)
    counts = np.bincount(movie, minlength=ids.max() + 1)[ids]
    n_good = np.bincount(movie, good, minlength=ids.max() + 1)[ids]
    quality = (n_good + PRIOR_RATINGS * good.mean()) / (counts + PRIOR_RATINGS)
    names, years = items["movie_title"].to_pylist(), items["release_year"].to_pylist()
    titles = [readable(name, year) for name, year in zip(names, years, strict=True)]
    return pa.table(
        {"movie_id": ids, "title": titles, "genres": items["class"], "quality": quality.round(4)}
    ).sort_by("movie_id")


def readable(title: str, year: str) -> str:
    """``"Convent, The (Convento, O)", "1995"`` as ``"The Convent (O Convento) (1995)"``."""
    title = ARTICLE.sub(r"\2 \1", title)
    return f"{title} ({year})" if year.isdigit() else title


def write(table: pa.Table, path: Path) -> None:
    """Write a table under a temporary name, then move it into place."""
    temporary = path.with_suffix(".tmp")
    pq.write_table(table, temporary, compression="zstd")
    temporary.replace(path)


def present(folder: Path, before: date) -> bool:
    """Whether both files are there, for this day."""
    movies = folder / "movies.parquet"
    if not (movies.is_file() and (folder / "actions.parquet").is_file()):
        return False
    metadata = pq.read_schema(movies).metadata or {}
    return metadata.get(b"before") == before.isoformat().encode()


def main() -> None:
    """Parse, fetch, convert, write; nothing when it is done already."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the two files")
    parser.add_argument("--before", type=date.fromisoformat, required=True, help="YYYY-MM-DD")
    parser.add_argument("--wheel", type=Path, help=f"the wheel of {REQUIREMENT}, if you have it")
    parser.add_argument("--pip", default=sys.executable, help="a Python that has pip")
    options = parser.parse_args()
    if present(options.out, options.before):
        print(f"{options.out} is complete already")
        return
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        wheel = checked(options.wheel or download(options.pip, Path(scratch)))
        ratings, items = read(wheel, "inter"), read(wheel, "item")
    actions = actions_of(ratings)
    movies = movies_of(items, ratings, options.before)
    write(actions, options.out / "actions.parquet")
    # The movies come last: with their day they say that both files are there.
    day = {"before": options.before.isoformat()}
    write(movies.replace_schema_metadata(day), options.out / "movies.parquet")
    print(f"{actions.num_rows} actions on {movies.num_rows} movies in {options.out}")


if __name__ == "__main__":
    main()
