#!/usr/bin/env bash
# Runs the recipe "{{ name | word }}" on a Ray cluster that is up:
#     RAY_ADDRESS=http://HEAD:8265 bash ray-submit.sh [runtime_env.yaml]
# This machine needs tamis and Ray; the nodes need what tamis depends on, or the argument: a runtime_env that brings it.
# The code goes with the job, as it is imported here. Credentials belong in the nodes' environment: what a runtime_env
# holds, the dashboard shows. To take up a run that was cut short, submit it again.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/job"
printf %s {{ recipe | sh }} > "$work/job/recipe.yaml"
wheel=$("${PYTHON:-python}" -c {{ pack | sh }} "$work"{% for module in modules %} {{ module | sh }}{% endfor %})
"${PYTHON:-python}" -m zipfile -e "$wheel" "$work/job"

ray job submit --address "${RAY_ADDRESS:-http://127.0.0.1:8265}" --working-dir "$work/job" ${1:+--runtime-env "$1"} \
    -- python -m tamis.jobs.cli run recipe.yaml
