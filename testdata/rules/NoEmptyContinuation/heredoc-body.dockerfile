FROM scratch
COPY <<EOF /a

x \

EOF
