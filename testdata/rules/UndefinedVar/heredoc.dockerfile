FROM scratch
COPY <<EOF <<"RAW" /x/
$u1 '$u2' \$u3
EOF
$u4
RAW
