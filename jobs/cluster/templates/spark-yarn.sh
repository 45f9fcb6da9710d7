#!/usr/bin/env bash
# Runs the recipe "{{ name | word }}" on YARN:
#     bash spark-yarn.sh
# On a standalone cluster: MASTER=spark://HOST:7077 DEPLOY_MODE=client bash spark-yarn.sh
# This machine needs tamis and spark-submit; the nodes need what tamis depends on: an environment packed by venv-pack
# (--archive), or a Python of their own that has it (PYSPARK_PYTHON). The code goes with the job, as it is imported here.
# A run that was cut short is taken up by submitting again.
set -euo pipefail
MASTER=${MASTER:-yarn}
DEPLOY_MODE=${DEPLOY_MODE:-cluster}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf %s {{ recipe | sh }} > "$work/recipe.yaml"
printf %s {{ main | sh }} > "$work/main.py"
{% if hosts.gpus %}
printf %s {{ discovery | sh }} > "$work/discover_gpus.sh"
chmod +x "$work/discover_gpus.sh"
{% endif %}
wheel=$("${PYTHON:-python}" -c {{ pack | sh }} "$work"{% for module in modules %} {{ module | sh }}{% endfor %})
recipe=recipe.yaml # beside the driver, which --files puts it to in cluster mode
if [ "$DEPLOY_MODE" = client ]; then recipe=$work/recipe.yaml; fi

options=(
    --master "$MASTER"
    --deploy-mode "$DEPLOY_MODE"
    --name {{ name | sh }}
{% if queue %}
    --queue {{ queue | sh }}
{% endif %}
    --files "$work/recipe.yaml,$wheel{% if hosts.gpus %},$work/discover_gpus.sh{% endif %}"
{% for key, value in spark.items() %}
    --conf {{ "%s=%s" | format(key, value) | sh }}
{% endfor %}
{% if hosts.gpus %}
    --conf spark.executor.resource.gpu.discoveryScript=./discover_gpus.sh
{% endif %}
{% if archive %}
    --archives {{ "%s#environment" | format(archive) | sh }}
    --conf spark.yarn.appMasterEnv.PYSPARK_PYTHON=./environment/bin/python
{% endif %}
)
{% if archive %}
export PYSPARK_PYTHON=./environment/bin/python PYSPARK_DRIVER_PYTHON="${PYSPARK_DRIVER_PYTHON:-python}"
if [ "$DEPLOY_MODE" = cluster ]; then unset PYSPARK_DRIVER_PYTHON; fi
{% endif %}
spark-submit "${options[@]}" "$work/main.py" run "$recipe"
