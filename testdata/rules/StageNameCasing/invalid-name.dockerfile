FROM scratch as Ba!se
