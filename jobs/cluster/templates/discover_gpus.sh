#!/bin/sh
# Tells Spark which GPUs an executor may use, as Spark wants it told: by name and addresses, in JSON.
nvidia-smi --query-gpu=index --format=csv,noheader \
    | awk '{ list = list separator "\"" $1 "\""; separator = ", " } END { print "{\"name\": \"gpu\", \"addresses\": [" list "]}" }'
