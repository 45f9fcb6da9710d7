#!/usr/bin/env bash
# Runs the recipe "{{ name | word }}" on a Ray cluster over the nodes of one Slurm allocation:
#     sbatch slurm.sh
# It runs in the environment that sbatch was called in (its `tamis` and `ray`), which every node must see at the same
# place, as it must the recipe's folders or object storage. Options of sbatch's go before the lines below, as in
# `sbatch --time=2-00:00:00 slurm.sh`. A run that was cut short or preempted is taken up by submitting again.
#SBATCH --job-name={{ name | word }}
{% if queue %}
#SBATCH --partition={{ queue | word }}
{% endif %}
#SBATCH --ntasks={{ hosts.fewest }}
#SBATCH --cpus-per-task={{ hosts.cpus }}
#SBATCH --mem-per-cpu={{ (1024 * hosts.memory_gib / hosts.cpus) | round(0, "ceil") | int }}M
{% if hosts.gpus %}
#SBATCH --gpus={{ hosts.gpus * hosts.fewest }}
{% endif %}
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
set -euo pipefail

work=$(mktemp -d)
nodes=
trap 'kill $nodes 2>/dev/null || true; rm -rf "$work"' EXIT
printf %s {{ recipe | sh }} > "$work/recipe.yaml"

# One Ray node for each node of the allocation, with the CPUs that Slurm gave there; they end with this script. Other jobs
# may have Ray on the same machines, so ports, folders and the token that opens the cluster are this job's own.
export RAY_ADDRESS="$(hostname):$((20000 + SLURM_JOB_ID % 20000))" RAY_TMPDIR="/tmp/tamis-$SLURM_JOB_ID"
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_TOKEN
srun --overlap --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 --cpu-bind=none \
    bash -euc '
        end() { kill "$!" 2>/dev/null && wait "$!" || true; rm -rf "$RAY_TMPDIR"; }
        mkdir -p "$RAY_TMPDIR"
        trap end EXIT
        set -- --num-cpus="$SLURM_CPUS_ON_NODE" --dashboard-agent-listen-port=0 --block
        if [ "$SLURM_NODEID" -eq 0 ]; then
            set -- --head --port="${RAY_ADDRESS##*:}" --include-dashboard=false "$@"
        else
            until ray health-check --address "$RAY_ADDRESS" 2>/dev/null; do sleep 2; done
            set -- --address="$RAY_ADDRESS" "$@"
        fi
        ray start "$@" &
        wait "$!"
    ' &
nodes=$!
until ray health-check --address "$RAY_ADDRESS" 2>/dev/null; do
    kill -0 "$nodes"
    sleep 1
done

tamis run "$work/recipe.yaml"
