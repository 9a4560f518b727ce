# A small S3-compatible object store that is not root and takes its key from a secret file.
#   docker build -f docker/store.Dockerfile -t aptune:store .
FROM chrislusf/seaweedfs:3.97
COPY --chmod=755 docker/start-store.sh /usr/local/bin/start-store
RUN mkdir -p /data && chown 1000:1000 /data
USER 1000
WORKDIR /data
EXPOSE 8333
ENTRYPOINT ["start-store"]
