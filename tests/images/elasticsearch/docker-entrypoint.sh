#!/bin/sh
# As the official image: settings are the variables with a dot in their name, options of Java are in ES_JAVA_OPTS.
set -f
home=/usr/share/elasticsearch
# A shell passes over variables with a dot; they are read from what its process was given.
settings=$(tr '\0' '\n' <"/proc/$$/environ" | grep -E '^[a-z0-9_]+(\.[a-z0-9_]+)+=')
IFS='
'
# shellcheck disable=SC2086
set -- network.host=0.0.0.0 $settings
unset IFS
# Half the CPU of a start, at the cost of a throughput that a development stack does not need.
# shellcheck disable=SC2086
exec java -Xms512m -Xmx512m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC $ES_JAVA_OPTS \
  --module-path $home/lib --add-modules=jdk.net --add-modules=ALL-MODULE-PATH -cp $home/main \
  node.EsMain $home $home 9200 9300 "$@"
