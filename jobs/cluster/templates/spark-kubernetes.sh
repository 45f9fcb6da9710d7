#!/usr/bin/env bash
# Runs the recipe "{{ name | word }}" on Kubernetes, driver and executors in pods of one image:
#     MASTER=k8s://https://HOST:6443 NAMESPACE=curation bash spark-kubernetes.sh
# This machine needs spark-submit and kubectl. The pods may start pods (SERVICE_ACCOUNT, by default `spark`), and read
# what object storage asks for from a Secret, if there is one:
#     kubectl create secret generic tamis-storage -n curation --from-env-file=storage.env
# A run that was cut short is taken up by submitting again.
set -euo pipefail
: "${MASTER:?set it to k8s:// and the URL of the API server, as kubectl cluster-info shows it}"
NAMESPACE=${NAMESPACE:-default}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/job"
printf %s {{ recipe | sh }} > "$work/job/recipe.yaml"
printf %s {{ main | sh }} > "$work/job/main.py"
{% if hosts.gpus %}
printf %s {{ discovery | sh }} > "$work/job/discover_gpus.sh"
{% endif %}
printf %s {{ pod | sh }} > "$work/pod.yaml"

kubectl create configmap {{ label | sh }} --namespace "$NAMESPACE" --from-file="$work/job" --dry-run=client --output yaml \
    | kubectl apply --namespace "$NAMESPACE" --filename -

options=(
    --master "$MASTER"
    --deploy-mode cluster
    --name {{ name | sh }}
    --conf spark.kubernetes.namespace="$NAMESPACE"
    --conf spark.kubernetes.authenticate.driver.serviceAccountName="${SERVICE_ACCOUNT:-spark}"
    --conf spark.kubernetes.container.image={{ image | sh }}
    --conf spark.kubernetes.driver.podTemplateFile="$work/pod.yaml"
    --conf spark.kubernetes.executor.podTemplateFile="$work/pod.yaml"
{% for key, value in spark.items() %}
    --conf {{ "%s=%s" | format(key, value) | sh }}
{% endfor %}
{% if hosts.gpus %}
    --conf spark.executor.resource.gpu.vendor=nvidia.com
    --conf spark.executor.resource.gpu.discoveryScript=/etc/tamis/discover_gpus.sh
{% endif %}
)
spark-submit "${options[@]}" local:///etc/tamis/main.py run /etc/tamis/recipe.yaml
