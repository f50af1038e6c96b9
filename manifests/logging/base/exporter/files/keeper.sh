#!/bin/bash
# Looks every five minutes at the log indices under ISM. ISM gives an index up when S3 was away during
# its snapshot and never comes back to it: this asks for another try, which takes a new snapshot. What
# it saw is in /www/metrics, which the container `lifecycle` serves: ISM has no metrics of its own.
set -u
ism="$OPENSEARCH_URL/_plugins/_ism"
seen="total_managed_indices,*.action.failed"
retries=0

ask() {
  curl --fail-with-body --silent --show-error --max-time 30 --globoff "$@" 2>&1
}

look() {
  if ! answer=$(ask "$ism/explain/logs-*?filter_path=$seen"); then
    # So it says that there is no log index yet. Without an answer the last metrics stay.
    if [[ $answer != *"no documents to get"* ]]; then
      echo "cannot look: $answer"
      return
    fi
    answer='{"total_managed_indices":0}'
  fi
  now=$(date +%s)
  # {"logs-k8s-2026.11.08":{"action":{"failed":true}},…,"total_managed_indices":2}
  managed=$(echo "$answer" | grep -o '"total_managed_indices":[0-9]*' | cut -d : -f 2)
  failed=$(echo "$answer" | grep -o '"[^"]*":{"action":{"failed":true}}' | cut -d '"' -f 2)
  for index in $failed; do
    retries=$((retries + 1))
    said=$(ask --request POST "$ism/retry/$index")
    echo "$index has failed, asked for another try: $said"
  done
  metrics >/www/metrics.new
  mv /www/metrics.new /www/metrics
}

metrics() {
  echo "# TYPE opensearch_ism_managed_indices gauge"
  echo "opensearch_ism_managed_indices ${managed:-0}"
  echo "# TYPE opensearch_ism_failed_indices gauge"
  echo "opensearch_ism_failed_indices $(echo "$failed" | grep -c .)"
  echo "# TYPE opensearch_ism_failed_index gauge"
  for index in $failed; do echo "opensearch_ism_failed_index{index=\"$index\"} 1"; done
  echo "# TYPE opensearch_ism_retries_total counter"
  echo "opensearch_ism_retries_total $retries"
  echo "# TYPE opensearch_ism_last_look_timestamp_seconds gauge"
  echo "opensearch_ism_last_look_timestamp_seconds $now"
}

trap 'exit 0' TERM
: >/www/metrics
while true; do
  look
  sleep 300 &
  wait $!
done
