#!/bin/bash
# Looks every five minutes at the log indices under ISM. ISM gives an index up when S3 was away during
# its snapshot and never comes back to it: this asks for another try, which takes a new snapshot. And
# makes the indices of the next day (UTC) from noon on: where that is refused, as at the limit of shards,
# somebody learns it before the first line would be refused as well. What it saw is in /www/metrics,
# which the container `lifecycle` serves: ISM has no metrics of its own.
set -u
ism="$OPENSEARCH_URL/_plugins/_ism"
seen="total_managed_indices,*.action.failed"
retries=0
looks=0
unmade=0

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
  begin
  metrics >/www/metrics.new
  mv /www/metrics.new /www/metrics
}

begin() {
  looks=$((looks + 1))
  # Not at the first look: a deploy changes the template only when OpenSearch and this have started.
  if [ "$looks" = 1 ] || ! template=$(ask "$OPENSEARCH_URL/_index_template/logs"); then return; fi
  day=$(date -u -d @$((now + 43200)) +%Y.%m.%d)
  unmade=0
  for index in "logs-k8s-$day" "logs-host-$day" "logs-events-$day"; do
    # A deploy that was cut off left the template of before, which may not know this one.
    if [[ $template != *"\"${index%"$day"}*\""* ]]; then continue; fi
    if ! said=$(ask --request PUT "$OPENSEARCH_URL/$index") && [[ $said != *already_exists* ]]; then
      unmade=$((unmade + 1))
      echo "cannot make $index: $said"
    fi
  done
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
  echo "# TYPE opensearch_log_indices_unmade gauge"
  echo "opensearch_log_indices_unmade $unmade"
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
