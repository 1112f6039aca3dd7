FROM scratch
# check=skip=UndefinedVar
# check=skip=MaintainerDeprecated
MAINTAINER x
