"""``python -m tamis.filters.rules fineweb``: a profile's published bounds as criteria and policies, to paste and to change."""

from __future__ import annotations

import argparse

import yaml

from .profile import load_profile, profile_names


def main(arguments: list[str] | None = None) -> None:
    """Print the recipe's blocks for a profile, whose columns the recipe calls by the name of a score."""
    parser = argparse.ArgumentParser(prog="python -m tamis.filters.rules", description=__doc__)
    parser.add_argument("profile", choices=profile_names())
    parser.add_argument("--score", default="rules", help="the score's name in the recipe")
    options = parser.parse_args(arguments)
    profile = load_profile(options.profile)
    print(f"# {profile.about}")
    print(yaml.safe_dump(profile.recipe(options.score), sort_keys=False, width=10_000), end="")


if __name__ == "__main__":
    main()
