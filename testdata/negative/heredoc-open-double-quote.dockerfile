FROM scratch
RUN cat <<EOF"
EOF
