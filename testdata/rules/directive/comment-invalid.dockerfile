FROM scratch
# check=bogus
# check=skip=all
MAINTAINER x
