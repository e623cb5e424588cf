"""Interests: the section of ``recovery``: clusters against interests that are known."""

from typing import Any

from cells import table

Facts = dict[str, Any]


def recovery(facts: Facts) -> str:
    """What each method found of the interests, at each level of noise."""
    levels = facts["levels"]
    return "\n\n".join(
        [
            "## Interests found in a world where they are known",
            (
                f"Synthetic worlds of {facts['users']:,} users, seeds "
                f"{', '.join(map(str, facts['seeds']))}. Adjusted Rand index of a user's clusters "
                "and the topics of her pins, a mean over users: 1 is perfect, 0 is chance. "
                '"Chosen" is by a rule that knows no topic '
                "([decision 42](decisions/0042-alpha-by-a-silhouette-of-directions.md)), "
                '"best" by looking at them.'
            ),
            table(["", *(one["name"] for one in levels)], rows(levels)),
        ]
    )


def rows(levels: list[Facts]) -> list[list[str]]:
    """A row a fact, a column a level."""
    return [
        ["actions at random", *(f"{one['noise_share']:.0%}" for one in levels)],
        ["length of what is added to each pin", *(f"{one['blur']:g}" for one in levels)],
        ["alpha chosen", *(", ".join(f"{at:g}" for at in one["chosen"]) for one in levels)],
        [
            "share of the best alpha's",
            *(", ".join(f"{share:.2f}" for share in one["share_of_best"]) for one in levels),
        ],
        *(
            [name, *(f"{one['adjusted_rand'][name]:.2f}" for one in levels)]
            for name in levels[0]["adjusted_rand"]
        ),
    ]
