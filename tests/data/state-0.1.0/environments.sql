PRAGMA foreign_keys=OFF;
PRAGMA user_version=1;
BEGIN TRANSACTION;
CREATE TABLE environments (
    id TEXT PRIMARY KEY,
    created TEXT NOT NULL,
    login TEXT,
    sealed BLOB
) STRICT;
INSERT INTO "environments" VALUES('prod','2026-11-28 11:07:36','{"user":null,"key":null,"hosts":{"10.8.14.200":{"user":"root","port":22},"10.8.14.201":{"user":"root","port":22},"10.8.14.202":{"user":"root","port":22}}}',NULL);
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    task INTEGER NOT NULL REFERENCES tasks(id) ON DELETE CASCADE,
    json TEXT NOT NULL
) STRICT;
INSERT INTO "events" VALUES(163,3,'{"event":"run_started","run":"20261128-110951-12444","environment":"prod","operations":["remove 10.8.14.202 from the etcd cluster","remove 0 master(s), 1 node(s) from the Kubernetes cluster","update the API servers'' list of etcd members"],"hosts":["10.8.14.202","10.8.14.200"],"dry_run":false}');
INSERT INTO "events" VALUES(164,3,'{"event":"planned","steps":30,"weight":92,"hosts":{"10.8.14.200":60,"10.8.14.202":18}}');
INSERT INTO "events" VALUES(165,3,'{"event":"step_started","host":null,"step":"/etcd.leave.10.8.14.202","title":"take host2 out of the etcd cluster"}');
INSERT INTO "events" VALUES(166,3,'{"event":"step_started","host":"10.8.14.200","step":"10.8.14.200/kubernetes.install","title":"install Kubernetes and what it needs"}');
INSERT INTO "events" VALUES(167,3,'{"event":"step_finished","host":"10.8.14.200","step":"10.8.14.200/kubernetes.install","title":"install Kubernetes and what it needs","outcome":{"result":"satisfied"},"weight":15,"took_ms":122}');
INSERT INTO "events" VALUES(168,3,'{"event":"step_started","host":"10.8.14.200","step":"10.8.14.200/master.configure","title":"write the master''s configuration and certificates"}');
INSERT INTO "events" VALUES(169,3,'{"event":"step_finished","host":"10.8.14.200","step":"10.8.14.200/master.configure","title":"write the master''s configuration and certificates","outcome":{"result":"changed"},"weight":1,"took_ms":339}');
INSERT INTO "events" VALUES(170,3,'{"event":"step_started","host":"10.8.14.200","step":"10.8.14.200/kube-apiserver.start","title":"start the API server"}');
INSERT INTO "events" VALUES(171,3,'{"event":"step_finished","host":null,"step":"/etcd.leave.10.8.14.202","title":"take host2 out of the etcd cluster","outcome":{"result":"changed"},"weight":2,"took_ms":983}');
INSERT INTO "events" VALUES(172,3,'{"event":"step_started","host":"10.8.14.202","step":"10.8.14.202/etcd.undo","title":"undo the recorded changes"}');
INSERT INTO "events" VALUES(173,3,'{"event":"step_started","host":null,"step":"/drain.10.8.14.202","title":"drain node host2"}');
INSERT INTO "events" VALUES(174,3,'{"event":"step_finished","host":"10.8.14.202","step":"10.8.14.202/etcd.undo","title":"undo the recorded changes","outcome":{"result":"changed"},"weight":4,"took_ms":1011}');
INSERT INTO "events" VALUES(175,3,'{"event":"step_started","host":"10.8.14.202","step":"10.8.14.202/etcd.aside","title":"set the member''s data aside"}');
INSERT INTO "events" VALUES(176,3,'{"event":"step_finished","host":"10.8.14.202","step":"10.8.14.202/etcd.aside","title":"set the member''s data aside","outcome":{"result":"changed"},"weight":1,"took_ms":186}');
INSERT INTO "events" VALUES(177,3,'{"event":"step_finished","host":"10.8.14.200","step":"10.8.14.200/kube-apiserver.start","title":"start the API server","outcome":{"result":"changed"},"weight":4,"took_ms":13716}');
INSERT INTO "events" VALUES(178,3,'{"event":"step_started","host":"10.8.14.200","step":"10.8.14.200/kubernetes.answers","title":"wait for the API"}');
INSERT INTO "events" VALUES(179,3,'{"event":"step_finished","host":"10.8.14.200","step":"10.8.14.200/kubernetes.answers","title":"wait for the API","outcome":{"result":"changed"},"weight":4,"took_ms":1535}');
INSERT INTO "events" VALUES(180,3,'{"event":"step_started","host":"10.8.14.200","step":"10.8.14.200/kube-controller-manager.start","title":"start the controller manager"}');
INSERT INTO "events" VALUES(181,3,'{"event":"step_finished","host":"10.8.14.200","step":"10.8.14.200/kube-controller-manager.start","title":"start the controller manager","outcome":{"result":"satisfied"},"weight":2,"took_ms":48}');
INSERT INTO "events" VALUES(182,3,'{"event":"step_started","host":"10.8.14.200","step":"10.8.14.200/kube-scheduler.start","title":"start the scheduler"}');
INSERT INTO "events" VALUES(183,3,'{"event":"step_finished","host":"10.8.14.200","step":"10.8.14.200/kube-scheduler.start","title":"start the scheduler","outcome":{"result":"satisfied"},"weight":2,"took_ms":121}');
INSERT INTO "events" VALUES(184,3,'{"event":"step_started","host":"10.8.14.200","step":"10.8.14.200/kubernetes.leads","title":"wait for controller manager and scheduler"}');
INSERT INTO "events" VALUES(185,3,'{"event":"step_finished","host":null,"step":"/drain.10.8.14.202","title":"drain node host2","outcome":{"result":"changed"},"weight":10,"took_ms":15759}');
INSERT INTO "events" VALUES(186,3,'{"event":"step_started","host":"10.8.14.202","step":"10.8.14.202/node.teardown","title":"remove what Kubernetes created"}');
INSERT INTO "events" VALUES(187,3,'{"event":"step_finished","host":"10.8.14.200","step":"10.8.14.200/kubernetes.leads","title":"wait for controller manager and scheduler","outcome":{"result":"satisfied"},"weight":2,"took_ms":426}');
INSERT INTO "events" VALUES(188,3,'{"event":"step_started","host":"10.8.14.200","step":"10.8.14.200/cluster.publish","title":"publish the list of the cluster''s hosts"}');
INSERT INTO "events" VALUES(189,3,'{"event":"step_finished","host":"10.8.14.200","step":"10.8.14.200/cluster.publish","title":"publish the list of the cluster''s hosts","outcome":{"result":"changed"},"weight":1,"took_ms":1590}');
INSERT INTO "events" VALUES(190,3,'{"event":"step_started","host":"10.8.14.200","step":"10.8.14.200/kernel.configure","title":"keep kernel modules and sysctls over a restart"}');
INSERT INTO "events" VALUES(191,3,'{"event":"step_finished","host":"10.8.14.200","step":"10.8.14.200/kernel.configure","title":"keep kernel modules and sysctls over a restart","outcome":{"result":"satisfied"},"weight":1,"took_ms":103}');
INSERT INTO "events" VALUES(192,3,'{"event":"step_started","host":"10.8.14.200","step":"10.8.14.200/kernel.set","title":"set kernel modules and sysctls, switch swap off"}');
INSERT INTO "events" VALUES(193,3,'{"event":"step_finished","host":"10.8.14.200","step":"10.8.14.200/kernel.set","title":"set kernel modules and sysctls, switch swap off","outcome":{"result":"satisfied"},"weight":1,"took_ms":35}');
INSERT INTO "events" VALUES(194,3,'{"event":"step_started","host":"10.8.14.200","step":"10.8.14.200/cni.configure","title":"configure the pods'' bridge"}');
INSERT INTO "events" VALUES(195,3,'{"event":"step_finished","host":"10.8.14.202","step":"10.8.14.202/node.teardown","title":"remove what Kubernetes created","outcome":{"result":"changed"},"weight":5,"took_ms":1967}');
INSERT INTO "events" VALUES(196,3,'{"event":"step_finished","host":"10.8.14.200","step":"10.8.14.200/cni.configure","title":"configure the pods'' bridge","outcome":{"result":"satisfied"},"weight":1,"took_ms":61}');
INSERT INTO "events" VALUES(197,3,'{"event":"step_started","host":"10.8.14.200","step":"10.8.14.200/docker.configure","title":"configure Docker"}');
INSERT INTO "events" VALUES(198,3,'{"event":"step_finished","host":"10.8.14.200","step":"10.8.14.200/docker.configure","title":"configure Docker","outcome":{"result":"satisfied"},"weight":1,"took_ms":34}');
INSERT INTO "events" VALUES(199,3,'{"event":"step_started","host":"10.8.14.200","step":"10.8.14.200/docker.start","title":"start Docker"}');
INSERT INTO "events" VALUES(200,3,'{"event":"step_started","host":"10.8.14.202","step":"10.8.14.202/host.undo","title":"undo the recorded changes"}');
INSERT INTO "events" VALUES(201,3,'{"event":"step_started","host":null,"step":"/delete.10.8.14.202","title":"delete node host2"}');
INSERT INTO "events" VALUES(202,3,'{"event":"step_finished","host":"10.8.14.200","step":"10.8.14.200/docker.start","title":"start Docker","outcome":{"result":"satisfied"},"weight":3,"took_ms":75}');
INSERT INTO "events" VALUES(203,3,'{"event":"step_started","host":"10.8.14.200","step":"10.8.14.200/images.load","title":"load the bundle''s container images"}');
INSERT INTO "events" VALUES(204,3,'{"event":"step_finished","host":"10.8.14.200","step":"10.8.14.200/images.load","title":"load the bundle''s container images","outcome":{"result":"satisfied"},"weight":4,"took_ms":269}');
INSERT INTO "events" VALUES(205,3,'{"event":"step_started","host":"10.8.14.200","step":"10.8.14.200/cluster.list","title":"write the list of the cluster''s hosts"}');
INSERT INTO "events" VALUES(206,3,'{"event":"step_finished","host":"10.8.14.200","step":"10.8.14.200/cluster.list","title":"write the list of the cluster''s hosts","outcome":{"result":"changed"},"weight":1,"took_ms":924}');
INSERT INTO "events" VALUES(207,3,'{"event":"step_started","host":"10.8.14.200","step":"10.8.14.200/sunshine-cluster.configure","title":"configure the cluster-sync service"}');
INSERT INTO "events" VALUES(208,3,'{"event":"step_finished","host":null,"step":"/delete.10.8.14.202","title":"delete node host2","outcome":{"result":"changed"},"weight":1,"took_ms":1927}');
INSERT INTO "events" VALUES(209,3,'{"event":"step_started","host":null,"step":"/cluster.publish","title":"publish the list of the cluster''s hosts"}');
INSERT INTO "events" VALUES(210,3,'{"event":"step_finished","host":"10.8.14.200","step":"10.8.14.200/sunshine-cluster.configure","title":"configure the cluster-sync service","outcome":{"result":"satisfied"},"weight":1,"took_ms":349}');
INSERT INTO "events" VALUES(211,3,'{"event":"step_started","host":"10.8.14.200","step":"10.8.14.200/sunshine-cluster.start","title":"start the cluster-sync service"}');
INSERT INTO "events" VALUES(212,3,'{"event":"step_finished","host":"10.8.14.200","step":"10.8.14.200/sunshine-cluster.start","title":"start the cluster-sync service","outcome":{"result":"satisfied"},"weight":3,"took_ms":103}');
INSERT INTO "events" VALUES(213,3,'{"event":"step_started","host":"10.8.14.200","step":"10.8.14.200/kubelet.configure","title":"configure the kubelet"}');
INSERT INTO "events" VALUES(214,3,'{"event":"step_finished","host":"10.8.14.200","step":"10.8.14.200/kubelet.configure","title":"configure the kubelet","outcome":{"result":"satisfied"},"weight":1,"took_ms":121}');
INSERT INTO "events" VALUES(215,3,'{"event":"step_started","host":"10.8.14.200","step":"10.8.14.200/kubelet.start","title":"start the kubelet"}');
INSERT INTO "events" VALUES(216,3,'{"event":"step_finished","host":null,"step":"/cluster.publish","title":"publish the list of the cluster''s hosts","outcome":{"result":"satisfied"},"weight":1,"took_ms":432}');
INSERT INTO "events" VALUES(217,3,'{"event":"step_finished","host":"10.8.14.200","step":"10.8.14.200/kubelet.start","title":"start the kubelet","outcome":{"result":"satisfied"},"weight":3,"took_ms":296}');
INSERT INTO "events" VALUES(218,3,'{"event":"step_started","host":"10.8.14.200","step":"10.8.14.200/kube-proxy.configure","title":"configure kube-proxy"}');
INSERT INTO "events" VALUES(219,3,'{"event":"step_finished","host":"10.8.14.200","step":"10.8.14.200/kube-proxy.configure","title":"configure kube-proxy","outcome":{"result":"satisfied"},"weight":1,"took_ms":87}');
INSERT INTO "events" VALUES(220,3,'{"event":"step_started","host":"10.8.14.200","step":"10.8.14.200/kube-proxy.start","title":"start kube-proxy"}');
INSERT INTO "events" VALUES(221,3,'{"event":"step_finished","host":"10.8.14.200","step":"10.8.14.200/kube-proxy.start","title":"start kube-proxy","outcome":{"result":"satisfied"},"weight":3,"took_ms":152}');
INSERT INTO "events" VALUES(222,3,'{"event":"step_started","host":"10.8.14.200","step":"10.8.14.200/node.ready","title":"wait until the node is Ready"}');
INSERT INTO "events" VALUES(223,3,'{"event":"step_finished","host":"10.8.14.200","step":"10.8.14.200/node.ready","title":"wait until the node is Ready","outcome":{"result":"satisfied"},"weight":5,"took_ms":200}');
INSERT INTO "events" VALUES(224,3,'{"event":"step_finished","host":"10.8.14.202","step":"10.8.14.202/host.undo","title":"undo the recorded changes","outcome":{"result":"changed"},"weight":8,"took_ms":4528}');
INSERT INTO "events" VALUES(225,3,'{"event":"run_finished","ok":true,"interrupted":false,"hosts":[{"host":"10.8.14.200","result":"ok","changed":5,"took_ms":20706,"route":null},{"host":"10.8.14.202","result":"ok","changed":4,"took_ms":7692,"route":null}],"took_ms":27575}');
CREATE TABLE hosts (
    task INTEGER NOT NULL REFERENCES tasks(id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    host TEXT NOT NULL,
    state TEXT NOT NULL,
    step TEXT NOT NULL,
    done INTEGER NOT NULL DEFAULT 0,
    weight INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (task, host)
) STRICT;
INSERT INTO "hosts" VALUES(1,0,'10.8.14.200','ok','wait until the node is Ready',73,73);
INSERT INTO "hosts" VALUES(1,1,'10.8.14.201','ok','write and read through this member',13,13);
INSERT INTO "hosts" VALUES(2,0,'10.8.14.202','ok','wait until the node is Ready',60,60);
INSERT INTO "hosts" VALUES(2,1,'10.8.14.200','ok','wait until the node is Ready',60,60);
INSERT INTO "hosts" VALUES(3,0,'10.8.14.202','ok','undo the recorded changes',18,18);
INSERT INTO "hosts" VALUES(3,1,'10.8.14.200','ok','wait until the node is Ready',60,60);
CREATE TABLE tasks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    environment TEXT NOT NULL REFERENCES environments(id) ON DELETE CASCADE,
    kind INTEGER NOT NULL,
    run TEXT NOT NULL,
    title TEXT NOT NULL,
    params TEXT NOT NULL,
    status TEXT NOT NULL,
    progress REAL NOT NULL,
    desc TEXT NOT NULL,
    made TEXT,
    err INTEGER NOT NULL,
    started TEXT NOT NULL,
    updated TEXT NOT NULL,
    steps INTEGER NOT NULL DEFAULT 0,
    steps_done INTEGER NOT NULL DEFAULT 0,
    failure TEXT
) STRICT;
INSERT INTO "tasks" VALUES(1,'prod',1,'20261128-110736-12444','create the etcd cluster of 10.8.14.200, 10.8.14.201; create the Kubernetes cluster of 1 master(s), 1 node(s)','{"etcd-host-list":["root@10.8.14.200","root@10.8.14.201"],"master-host-list":["root@10.8.14.200"],"node-host-list":["root@10.8.14.200"]}','finished',100.0,'done, and verified on every host',NULL,0,'2026-11-28 11:07:36','2026-11-28 11:08:53',30,30,NULL);
INSERT INTO "tasks" VALUES(2,'prod',3,'20261128-110854-12444','add 10.8.14.202 to the etcd cluster; add 0 master(s), 1 node(s) to the Kubernetes cluster','{"etcd-host-list":["root@10.8.14.202"],"node-host-list":["root@10.8.14.202"]}','finished',100.0,'done, and verified on every host',NULL,0,'2026-11-28 11:08:54','2026-11-28 11:09:45',43,43,NULL);
INSERT INTO "tasks" VALUES(3,'prod',4,'20261128-110951-12444','remove 10.8.14.202 from the etcd cluster; remove 0 master(s), 1 node(s) from the Kubernetes cluster; update the API servers'' list of etcd members','{"etcd-host-list":["root@10.8.14.202"],"node-host-list":["root@10.8.14.202"]}','finished',100.0,'done, and verified on every host',NULL,0,'2026-11-28 11:09:51','2026-11-28 11:10:18',30,30,NULL);
CREATE INDEX tasks_of ON tasks(environment, kind, id);
CREATE INDEX events_of ON events(task, id);
COMMIT;
