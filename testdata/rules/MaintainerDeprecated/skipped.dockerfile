FROM scratch
# check=skip=MaintainerDeprecated
MAINTAINER ann
