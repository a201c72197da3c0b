#!/bin/sh
# Writes the configuration of Alertmanager from the environment, and becomes Alertmanager.
#   ALERT_TELEGRAM_TOKEN, ALERT_CHAT_ID  the bot that tells, and the chat that is told; without
#                                        both, alerts are shown at port 9093 and sent nowhere
#   RUNBOOKS_URL                         the address before docs/operations.md, with a slash
set -eu
umask 077

config=${CONFIG:-/tmp/alertmanager.yml}
cat > "$config" <<EOF
route:
  receiver: operators
  group_by: [alertname]
  group_wait: ${GROUP_WAIT:-30s}
  group_interval: 5m
  repeat_interval: 4h
receivers:
  - name: operators
EOF
if [ -n "${ALERT_TELEGRAM_TOKEN:-}" ] && [ -n "${ALERT_CHAT_ID:-}" ]; then
  cat >> "$config" <<EOF
    telegram_configs:
      - api_url: ${TELEGRAM_API_URL:-https://api.telegram.org}
        bot_token: ${ALERT_TELEGRAM_TOKEN}
        chat_id: ${ALERT_CHAT_ID}
        parse_mode: ""
        send_resolved: true
        message: |-
          {{ range .Alerts -}}
          {{ if eq .Status "resolved" }}Over: {{ else if eq .Labels.severity "page" }}Now: {{ end }}{{ .Labels.alertname }}
          {{ .Annotations.summary }}
          ${RUNBOOKS_URL:-}{{ .Annotations.runbook_url }}
          {{ end }}
EOF
else
  echo "ALERT_TELEGRAM_TOKEN or ALERT_CHAT_ID is not set: alerts are sent nowhere" >&2
fi
exec "${ALERTMANAGER:-/bin/alertmanager}" --config.file="$config" "$@"
