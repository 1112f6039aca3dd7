FROM scratch
# check=skip=SecretsUsedInArgOrEnv // really
ENV password=bar
# check=skip=all
ARG password
ENV other_password=x
