FROM scratch
# check=error=true
MAINTAINER x
