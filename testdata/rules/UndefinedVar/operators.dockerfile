FROM scratch
ENV a=${u1:-x} b=${u2:+$u3} c=${u4#x} d='$u5' e=\$u6 f="$u7"
