#!/bin/sh
# Compiles the committed pipelines again, after a change of the DAG, of a step or of a recipe: `make compiled`.
set -eu
mmkgc compile countries -o pipeline/recipes/compiled/countries.pipeline.yaml
mmkgc compile default --set search.trials=20 --set 'search.space={optimizer.lr: {values: [0.1, 0.05]}}' --set propose.enabled=true -o pipeline/recipes/compiled/default.pipeline.yaml
mmkgc compile mkg-y-adamf-mat --set 'cluster.train={gpu: 1, memory: 32Gi, shm: 8Gi}' --set 'cluster.all.node_selector={pool: gpu}' -o pipeline/recipes/compiled/mkg-y-adamf-mat.pipeline.yaml
