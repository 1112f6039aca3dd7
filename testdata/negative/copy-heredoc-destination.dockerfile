FROM scratch
COPY /foo <<EOF
EOF
