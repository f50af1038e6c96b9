#!/bin/bash
# Plugin, keystore and truststore. Runs after copy.sh, with the plugin folder mounted where the
# installer writes; all of it is made afresh at every start of the pod.
set -euo pipefail
home=/usr/share/opensearch
export OPENSEARCH_PATH_CONF=/prepared/config

# The emptyDir outlives a failed try; the installer refuses a plugin that is there.
if [ ! -d "$home/plugins/repository-s3" ]; then
  "$home/bin/opensearch-plugin" install --batch repository-s3
fi

# The only place that the plugin reads credentials from.
rm -f "$OPENSEARCH_PATH_CONF/opensearch.keystore"
"$home/bin/opensearch-keystore" create
for key in s3.client.default.access_key s3.client.default.secret_key; do
  "$home/bin/opensearch-keystore" add --stdin --force "$key" <"/s3-config/$key"
done

# keytool takes one certificate per file; a CA file may hold a chain.
if [ -f /s3-ca/ca.crt ]; then
  rm -f /tmp/ca-*.pem
  count=0
  while IFS= read -r line || [ -n "$line" ]; do
    line=${line%$'\r'}
    if [ "$line" = "-----BEGIN CERTIFICATE-----" ]; then count=$((count + 1)); fi
    if [ "$count" -gt 0 ]; then echo "$line" >>"/tmp/ca-$count.pem"; fi
  done </s3-ca/ca.crt
  for ((number = 1; number <= count; number++)); do
    "$home/jdk/bin/keytool" -delete -alias "s3-ca-$number" \
      -keystore /prepared/truststore/cacerts -storepass changeit >/dev/null 2>&1 || true
    "$home/jdk/bin/keytool" -importcert -noprompt -trustcacerts -alias "s3-ca-$number" \
      -file "/tmp/ca-$number.pem" -keystore /prepared/truststore/cacerts -storepass changeit
  done
fi
